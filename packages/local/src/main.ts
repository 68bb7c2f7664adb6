import "@medipim/platform/process/Node24"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { run } from "./Start.ts"

const start = Command.make(
  "npm start --",
  {
    once: Flag.Boolean("once").pipe(
      Flag.withDescription("exit after the first sync, with its code"),
      Flag.withDefault(false)
    ),
    products: Flag.Int("products").pipe(
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2_000_000 }))),
      Flag.withDescription("products in the simulated MediPim"),
      Flag.withDefault(5000)
    )
  },
  run
).pipe(
  Command.withDescription(
    "Runs Postgres, a MediPim simulator and the three services on this machine, and makes a first sync. Data stays in .local/."
  )
)

start.pipe(Command.run({ version: "0.1.0" }), Effect.scoped, Effect.provide(NodeServices.layer), (program) =>
  NodeRuntime.runMain(program, { disableErrorReporting: true })
)
