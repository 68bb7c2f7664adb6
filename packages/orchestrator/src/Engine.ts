import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Layer } from "effect"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"

/**
 * A run that a standby was asked for is taken up within a second. A stopping process gives its steps two seconds: they
 * are repeatable, and taken up again by the process that comes next.
 */
const shardingConfig = { entityMessagePollInterval: "1 second", entityTerminationTimeout: "2 seconds" } as const

/**
 * Runs workflows durably, with their storage in Postgres. One process works; a second one on the same database stands by
 * and takes over when the first is gone.
 */
export const layer = ClusterWorkflowEngine.layer.pipe(
  Layer.provideMerge(SingleRunner.layer({ shardingConfig })),
  Layer.provide(NodeCrypto.layerDigest)
)
