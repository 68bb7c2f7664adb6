import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Layer } from "effect"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"

/**
 * Runs workflows durably, with their storage in Postgres. One process works; a second one on the same database stands by
 * and takes over when the first is gone.
 */
export const layer = ClusterWorkflowEngine.layer.pipe(
  Layer.provideMerge(SingleRunner.layer({ shardingConfig: { entityMessagePollInterval: "1 second" } })),
  Layer.provide(NodeCrypto.layerDigest)
)
