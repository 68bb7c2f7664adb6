import { randomBytes } from "node:crypto"
import { type Facts, idOf } from "./Catalogue.ts"
import { type Choices, choices } from "./Chance.ts"

/** Invented text. Accents and symbols are there because real product text has them. */
const makers = ["Banksia", "Köhler & Søn", "Murrumbidgee", "Quandong", "Café Santé", "Spinifex", "Île Verte"] as const
const remedies = [
  "Throat Lozenge",
  "Hand Balm",
  "Vitamin D₃",
  "Fibre Sachet",
  "Eye Rinse",
  "Heat Rub",
  "Probiotic"
] as const
const sizes = ["10 mL", "24 Tablets", "250 µg × 60", "100 g", "1.5 L", "30 Capsules"] as const
const sentences = [
  "Keep between 2 °C and 8 °C once the seal is broken, and never freeze.",
  "Speak to a pharmacist first when other medicines are taken on the same day.",
  "Adults: one measure with food, at most three times a day – no more.",
  "The pack is recyclable; rinse it, flatten it and put it into the yellow bin.",
  "Contains lactose and traces of soy. Suitable for vegetarians, not for vegans.",
  "Stop and ask for advice if redness, swelling or “pins and needles” occur.",
  "Shake gently for five seconds; a little sediment is normal and does no harm."
] as const

const meta = (createdAt: number | null, updatedAt: number) => ({ createdAt, updatedAt })
const localised = (c: Choices, salt: number, text: string): unknown => (c.oneIn(salt, 3) ? text : { en: text })
/** Nothing, in one of the forms that it has. `undefined` leaves the key out. */
const nothing = (c: Choices, salt: number): unknown => c.of(salt, [undefined, null, "", []])
/** A value, or nothing now and then. */
const mostly = (c: Choices, salt: number, value: unknown): unknown => (c.oneIn(salt, 6) ? nothing(c, salt + 50) : value)

const digits = (c: Choices, salt: number, length: number): string => {
  let text = ""
  for (let i = 0; text.length < length; i++) text += String(c.below(salt + 997 * i, 1_000_000_000)).padStart(9, "0")
  return text.slice(0, length)
}

/** A code with leading zeros as text, or as the number that lost them. */
const code = (c: Choices, salt: number, text: string): unknown => (c.oneIn(salt, 4) ? Number(text) : text)

const paragraph = (c: Choices, salt: number, length: number): string =>
  Array.from({ length }, (_, i) => `<p>${c.of(salt + i, sentences)}</p>`).join("")

const imageSizes = ["thumbnail", "medium", "large", "huge"] as const
const formats = (name: string): Record<string, string> =>
  Object.fromEntries(
    imageSizes.flatMap((size) => [
      [size, `https://assets.example/media/${size}/${name}.jpeg`],
      [`${size}Webp`, `https://assets.example/media/${size}/${name}.webp`]
    ])
  )

const organization = (c: Choices, salt: number, maker: string, type: string) => ({
  id: 2000 + c.below(salt, 900),
  name: localised(c, salt + 1, `${maker} Pty Ltd`),
  type,
  meta: meta(null, 1_727_740_800),
  contactInformation: {
    address: "7 Wattle Lane",
    zipCode: "2000",
    city: "",
    region: "AU-NSW",
    country: "AU",
    url: null
  }
})

const photo = (c: Choices, salt: number) => ({
  id: 9_000_000 + c.below(salt, 900_000),
  type: "photo",
  locales: ["en"],
  targetGroups: ["public", "pharmacist", "webshop"],
  photoType: "packshot",
  formats: formats(digits(c, salt + 1, 12)),
  visibleSides: ["front", "left"],
  meta: meta(1_690_000_000, 1_735_700_000)
})

const description = (c: Choices, salt: number, type: string) => ({
  id: 9_300_000 + c.below(salt, 90_000),
  locales: ["en"],
  targetGroups: ["public"],
  type,
  content: { en: paragraph(c, salt + 1, 6) },
  meta: meta(1_690_000_200, 1_735_700_100)
})

/** Signed again for every answer; the last key of `meta`. */
const signedMeta = ({ id, createdAt, updatedAt }: Facts) => ({
  createdAt,
  updatedAt,
  embedUrl: `https://api.au.medipim.example/v4/products/embed?id=${id}&mac=${randomBytes(8).toString("hex")}`
})

const identifiers = (c: Choices) => {
  const ean = `0${digits(c, 10, 12)}`
  return {
    ean: c.oneIn(11, 9) ? [] : c.oneIn(12, 4) ? [Number(ean)] : [ean.slice(1), ean],
    gtin: `0${ean}`,
    eanGtin8: mostly(c, 13, code(c, 14, digits(c, 15, 8))),
    eanGtin12: mostly(c, 16, code(c, 17, ean.slice(1))),
    eanGtin13: mostly(c, 18, code(c, 19, ean)),
    eanGtin14: mostly(c, 20, code(c, 21, `0${ean}`)),
    supplierReference: `S-${digits(c, 22, 6)}`,
    hsCode: mostly(c, 23, code(c, 24, `0${digits(c, 25, 5)}`)),
    artgId: mostly(c, 26, digits(c, 27, 6)),
    pbs: mostly(c, 28, `${digits(c, 29, 4)}K`),
    fred: `F${digits(c, 30, 7)}`,
    zCode: mostly(c, 31, `Z${digits(c, 32, 4)}`),
    snomedMp: mostly(c, 33, `${digits(c, 34, 8)}1011000036101`.slice(-18)),
    snomedMpp: mostly(c, 35, `${1 + c.below(36, 9)}${digits(c, 36, 16)}`),
    snomedMpuu: mostly(c, 37, `${1 + c.below(38, 9)}${digits(c, 38, 15)}`),
    snomedTp: mostly(c, 39, `${1 + c.below(40, 9)}${digits(c, 40, 14)}`),
    snomedTpp: mostly(c, 41, `${1 + c.below(42, 9)}${digits(c, 42, 17)}`),
    snomedTpuu: mostly(c, 43, `${1 + c.below(44, 9)}${digits(c, 44, 16)}`),
    snomedCtpp: mostly(c, 45, `${1 + c.below(46, 9)}${digits(c, 46, 16)}`)
  }
}

const fullResult = (facts: Facts, c: Choices, replacement: string | null): Record<string, unknown> => {
  const maker = c.of(60, makers)
  const name = `${maker} ${c.of(61, remedies)} ${c.of(62, sizes)}${facts.version > 0 ? ` (Recipe ${facts.version})` : ""}`
  return {
    id: facts.id,
    status: facts.status,
    replacement,
    name: localised(c, 63, name),
    seoName: localised(c, 64, name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")),
    requiresLegalText: c.oneIn(65, 4),
    biocide: mostly(c, 66, false),
    officialDeletionAt: mostly(c, 67, 1_893_456_000),
    ...identifiers(c),
    conservation: c.of(68, ["room", "refrigerator", "fresh", "frozen"]),
    conservationLabel: { en: "As the label says" },
    conservationMin: { celsius: { value: 15, unit: "°C" }, kelvin: { value: 288.15, unit: "K" } },
    vat: c.of(69, [0, 10, 10.0]),
    publicPrice: 500 + c.below(70, 9000) + 10 * facts.version,
    manufacturerPrice: mostly(c, 71, 300 + c.below(72, 4000)),
    pharmacistPrice: mostly(c, 73, 400 + c.below(74, 4000)),
    weightWithUnit: { value: 0.038, unit: "kg" },
    widthWithUnit: { value: 9.5, unit: "cm" },
    packageContent: "24",
    packageQuantity: 1,
    packagingUnit: "tablet",
    atcCategory: ["A11CC05"],
    notApplicableField: ["productFamily"],
    scheduleCode: c.of(75, ["S2", "S3", "S4"]),
    publicCategories: [
      {
        id: 9000 + c.below(76, 640),
        name: { en: "Everyday Health" },
        parent: 9400,
        order: 4,
        meta: meta(1_676_380_012, 1_719_806_400)
      }
    ],
    gs1Category: c.oneIn(77, 5)
      ? nothing(c, 78)
      : { code: `1000${digits(c, 79, 4)}`, level: 4, parent: "19999900", title: "Health Aids", active: "true" },
    brands: c.oneIn(80, 3)
      ? []
      : [{ id: 900 + c.below(81, 700), name: localised(c, 82, maker), meta: meta(1_676_380_100, 1_727_740_800) }],
    productFamilies: c.oneIn(83, 2)
      ? []
      : [{ id: 1 + c.below(84, 13), name: { en: `${maker} Family` }, meta: meta(1_700_000_000, 1_727_740_800) }],
    attributes: [{ id: 51, type: "galenic_shape", name: { en: "Tablet" }, meta: meta(1_676_371_000, 1_676_371_000) }],
    organizations: [organization(c, 85, maker, "supplier"), organization(c, 88, c.of(91, makers), "marketing")],
    activeIngredients: [],
    photos: [photo(c, 92), photo(c, 94)],
    links: [],
    descriptions: [
      description(c, 100, "full_description"),
      description(c, 110, "usage"),
      description(c, 120, "warnings")
    ],
    leaflets: [
      { id: 9_400_000 + c.below(130, 9000), locales: ["en"], type: "pil", url: { en: "https://assets.example/l.pdf" } }
    ],
    meta: signedMeta(facts)
  }
}

const sparseResult = (facts: Facts, c: Choices, replacement: string | null): Record<string, unknown> => ({
  id: facts.id,
  status: facts.status,
  ...(replacement === null ? {} : { replacement }),
  name: localised(c, 140, `${c.of(141, makers)} Bandage ${facts.version}`),
  ean: nothing(c, 142),
  eanGtin13: nothing(c, 143),
  artgId: nothing(c, 144),
  publicPrice: c.of(145, [null, undefined, 995 + facts.version]),
  vat: 0,
  publicCategories: nothing(c, 146),
  gs1Category: nothing(c, 147),
  brands: nothing(c, 148),
  organizations: c.oneIn(149, 2) ? [] : [{ id: 77, name: "Wattle & Co" }],
  meta: signedMeta(facts)
})

/** The `result` object of a product of a catalogue that began with so many, with a fresh signature. About one in twelve is sparse. */
export const resultOf = (seed: number, products: number, facts: Facts): Record<string, unknown> => {
  const c = choices(seed, facts.index)
  const replacement = facts.status === "replaced" ? idOf(seed, (facts.index + 1 + c.below(150, 50)) % products) : null
  return c.oneIn(151, 12) ? sparseResult(facts, c, replacement) : fullResult(facts, c, replacement)
}

const escaped = (text: string): string =>
  text.replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/**
 * The `result` of a line as text. PHP escapes slashes and other letters on some installations; here for some products.
 * Some exports write long codes as bare numbers, which no double can hold.
 */
const textOf = (result: Record<string, unknown>, product: number): string => {
  const text = JSON.stringify(result)
  const slashed = product % 3 === 0 ? text.replaceAll("/", "\\/") : text
  const bare = product % 41 === 0 ? slashed.replace(/"snomedMpp":"(\d+)"/, '"snomedMpp":$1') : slashed
  return product % 5 === 0 ? escaped(bare) : bare
}

/** The line of a product at a place in an answer, with its newline. */
export const lineOf = (seed: number, products: number, facts: Facts, index: number, total: number): string =>
  `{"meta":{"total":${total},"index":${index}},"result":${textOf(resultOf(seed, products, facts), facts.index)}}\n`
