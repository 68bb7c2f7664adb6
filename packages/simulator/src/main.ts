import "@medipim/platform/process/Node24"
import * as Service from "@medipim/platform/process/Service"
import { Effect, Layer, Option } from "effect"
import { Simulator } from "./Simulator.ts"
import { simulatorConfig } from "./SimulatorConfig.ts"

const Main = Layer.unwrap(
  Effect.map(simulatorConfig, ({ file, listenAddress, ...config }) =>
    Simulator.layer({
      ...config,
      ...Option.match(file, { onNone: () => ({}), onSome: (file) => ({ file }) }),
      ...Option.match(listenAddress, { onNone: () => ({}), onSome: (listenAddress) => ({ listenAddress }) })
    })
  )
)

Service.run("simulator", Main)
