import "@medipim/platform/Node24"
import * as Service from "@medipim/platform/Service"
import { Effect, Layer, Option } from "effect"
import { Simulator } from "./Simulator.ts"
import { simulatorConfig } from "./SimulatorConfig.ts"

const Main = Layer.unwrap(
  Effect.map(simulatorConfig, ({ file, ...config }) =>
    Simulator.layer(Option.match(file, { onNone: () => config, onSome: (path) => ({ ...config, file: path }) }))
  )
)

Service.run("simulator", Main)
