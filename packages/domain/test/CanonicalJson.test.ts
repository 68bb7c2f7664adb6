import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { random } from "@medipim/testing/Randomness"
import { Schema } from "effect"
import { canonicalJson, type JsonObject, parseExact } from "../src/CanonicalJson.ts"

const whole = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Digits = Schema.String.check(Schema.isPattern(/^\d{1,40}$/))
const DecimalText = Schema.Struct({
  sign: Schema.Literals(["", "-"]),
  whole: Digits,
  fraction: Schema.Union([Schema.Literal(""), Digits]),
  exponent: Schema.Union([Schema.Undefined, whole(-400, 400)])
})
/** As an integer and a power of ten, which is exact. */
const decimalValue = (text: string) => {
  const [, sign, integer = "", fraction = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i.exec(text) ?? []
  let digits = BigInt(`${sign}${integer}${fraction}`)
  let power = Number(exponent) - fraction.length
  while (digits !== 0n && digits % 10n === 0n) {
    digits /= 10n
    power += 1
  }
  return digits === 0n ? "0" : `${digits}e${power}`
}

describe("A number", () => {
  const textOf = ({ sign, whole: integer, fraction, exponent }: typeof DecimalText.Type) =>
    `${sign}${BigInt(integer)}${fraction === "" ? "" : `.${fraction}`}${exponent === undefined ? "" : `e${exponent}`}`

  it.prop(
    "keeps all of its digits, and is written alike however it came",
    { number: DecimalText },
    ({ number }) => {
      const text = textOf(number)
      const kept = canonicalJson(parseExact(`{"n":${text}}`))
      const written = kept.slice('{"n":'.length, -1)
      assert.strictEqual(decimalValue(written), decimalValue(text))
      const other = `${text.includes("e") ? text : `${text}e0`}`
      assert.strictEqual(canonicalJson(parseExact(`{"n":${other}}`)), kept)
    },
    random()
  )
  it("has one text for 12.5 and 12.50, and all digits of one that a double rounds", () => {
    const texts = [
      "12.5",
      "12.50",
      "1.25e1",
      "0.123456789012345678901234567891",
      "9007199254740991.00000000001",
      "1e400"
    ]
    assert.deepStrictEqual(
      texts.map((text) => canonicalJson(parseExact(`[${text}]`))),
      ["[12.5]", "[12.5]", "[12.5]", "[0.123456789012345678901234567891]", "[9007199254740991.00000000001]", "[1e400]"]
    )
  })
  it("is refused when Postgres has no room for it", () => {
    for (const text of ["1e131073", "1e-16384", "1e9999999999999999999999"]) {
      assert.throws(() => canonicalJson(parseExact(`[${text}]`)), RangeError)
    }
  })
})

describe("Objects", () => {
  const Key = Schema.String
  it.prop(
    "of other keys never share their text, whatever their keys look like",
    { one: Schema.Array(Key), other: Schema.Array(Key) },
    ({ one, other }) => {
      for (const keys of [one, other, [...one, "\u0000"], [`${one.join("\u0000")}`, ...other]]) {
        const object = Object.fromEntries(keys.map((key, n) => [key, n]))
        const sorted = Object.keys(object).sort()
        const members = sorted.map((key) => `${JSON.stringify(key)}:${object[key]}`)
        assert.strictEqual(canonicalJson(object), `{${members.join()}}`)
      }
    },
    random()
  )
  const Letters = Schema.Array(Schema.Literals(["\\", "\u0000", "a", '"', "é", "~", "\ud800", "💊"])).check(
    Schema.isMaxLength(3)
  )
  it.prop(
    "are read with their own keys, whatever keys the process has seen before",
    { seen: Letters, keys: Schema.Array(Letters), value: Letters, escapes: Schema.Boolean },
    ({ seen, keys, value, escapes }) => {
      JSON.parse(`{"": 0, ${JSON.stringify(seen.join(""))}: 1}`)
      const names = [...new Set(keys.map((letters) => letters.join("")))]
      const escaped = (text: string) =>
        escapes
          ? `"${text
              .split("")
              .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
              .join("")}"`
          : JSON.stringify(text)
      const text = `{${names.map((name) => `${escaped(name)}${" ".repeat(name.length * 120)}:${escaped(value.join(""))}`).join()}}`
      const expected = Object.fromEntries(names.map((name) => [name, value.join("")]))
      assert.deepStrictEqual(parseExact(text), expected, text)
      assert.deepStrictEqual(parseExact(`[{"a":${text}}]`), [{ a: expected }], text)
    },
    random(1000, 20_000)
  )
  it("keep the last of two members with one key, however each is written", () => {
    for (const [one, other] of [
      ["a", "\\u0061"],
      ["\\u0022", '\\"'],
      ["~", "\\u007e"]
    ]) {
      for (const text of [`{"${one}":1,"${other}":2}`, `{"${other}":1,"${one}":2,"${other}":3,"${one}":4}`]) {
        assert.deepStrictEqual(parseExact(text), JSON.parse(text), text)
      }
    }
  })
  it("with an escape in a key are refused as JSON.parse refuses them", () => {
    for (const text of ['{"\\x":1}', '{"\\u12":1}', '{"a\\"b:1}', '{"a\\"":1', '{"\\n\n":1}', '"\\":', '{"\\"":1}}']) {
      assert.throws(() => JSON.parse(text), SyntaxError)
      assert.throws(() => parseExact(text), SyntaxError)
    }
  })
  it("with an escape in a key are read in linear time, whole or cut", () => {
    const escapes = '\\"'.repeat(1_000_000)
    assert.strictEqual(String((parseExact(`{"a\\n":"${escapes}"}`) as JsonObject)["a\n"]).length, 1_000_000)
    assert.throws(() => parseExact(`{"a\\n":"${escapes}`), SyntaxError)
  })
  it("with an escape in a key keep the digits of their numbers", () => {
    assert.strictEqual(
      canonicalJson(parseExact('{"\\"": [12345678901234567891, {"\\\\": 1.50}]}')),
      '{"\\"":[12345678901234567891,{"\\\\":1.5}]}'
    )
  })
  it("are read wrongly by JSON.parse of this version of Node: when this fails, `escapeInKey` can go", () => {
    // In a process of its own, where nothing else was parsed before.
    const program = String.raw`JSON.parse('{"": 0, "\\\\": 1}');
      process.stdout.write(Object.keys(JSON.parse('{"": 0, "\\u0000": 1}'))[1])`
    assert.strictEqual(spawnSync(process.execPath, ["-e", program], { encoding: "utf8" }).stdout, "\\")
  })
  it("with a NUL in a key are told apart from those without", () => {
    for (const object of [
      { "\u0000": 1, "": 2 },
      { "": 1, "\u0000": 2 },
      { "a\u0000b": 1, c: 2 },
      { a: 1, "b\u0000c": 2 }
    ]) {
      assert.deepStrictEqual(parseExact(canonicalJson(object)), object)
    }
  })
})
