// The variables that an operator sets, as their text must be. The services read them through ServiceSettings.ts, and
// fly/secrets.mjs checks them before a deployment. That runs before anything is installed, with the Node that is there:
// so this file is plain JavaScript and imports nothing.

/**
 * How the text of a variable must look. No member ever shows anything of the text: it may be a secret.
 * @typedef {object} TextForm
 * @property {RegExp} pattern - What a valid text matches, without the blanks around it.
 * @property {string} expects - What a valid text looks like, in words.
 * @property {(text: string) => string | undefined} [problem] - What is wrong with a text that may look right, and the cure.
 */

/** @typedef {TextForm & { readonly purpose: string }} Variable - A form, and what its value is for. */

/**
 * What keeps a text from being sent in a header as it stands, and the cure.
 * @param {string} text
 * @returns {string | undefined}
 */
export const headerProblem = (text) => {
  if (/[\r\n]\s*$/.test(text)) return "ends with a line break: set it again without one"
  return /[^\x21-\x7e]/.test(text)
    ? "has a blank or a character that no header can carry: use letters, digits and signs of ASCII (openssl rand -hex 32)"
    : undefined
}

/** @type {TextForm} */
export const secret = { pattern: /^\S+$/, expects: "a secret without blanks", problem: headerProblem }

/** @type {TextForm} */
const longSecret = { pattern: /^\S{32,}$/, expects: "at least 32 characters", problem: headerProblem }

/** @type {TextForm} */
export const httpUrl = { pattern: /^https?:\/\/[^\s/?#]+\S*$/, expects: "an http:// or https:// address" }

const encoding =
  "in the password write % as %25, # as %23, / as %2F, ? as %3F and @ as %40; in a .env file a bare # begins a comment"

/**
 * What is wrong with an address that begins like one of Postgres.
 * @param {string} raw
 * @returns {string | undefined}
 */
const databaseUrlProblem = (raw) => {
  const text = raw.trim()
  if (!/^postgres(ql)?:\/\/\S+$/.test(text)) return undefined
  if (!URL.canParse(text)) return `cannot be read as an address (${encoding})`
  if (/^[^:]+:\/\/[^/?#]*@[^/?#]*@/.test(text)) return `has a bare @ (${encoding})`
  const { hash, hostname, password, port, searchParams } = new URL(text)
  if (hash !== "") return `has a bare # (${encoding})`
  try {
    decodeURIComponent(password)
  } catch {
    return `has a bare % (${encoding})`
  }
  if (hostname === "" && !searchParams.has("host")) return `names no host (${encoding})`
  return port === "6543"
    ? "is the transaction pooler of Supabase (port 6543); take the direct connection, or the session pooler on port 5432"
    : undefined
}

/**
 * @param {string} text
 * @returns {string | undefined}
 */
const supabaseUrlProblem = (text) =>
  URL.canParse(text) && new URL(text).pathname.replaceAll("/", "") !== ""
    ? "has a path, and must be the address alone, https://<project>.supabase.co"
    : undefined

/**
 * Keys that Supabase shows beside the secret one; they may not write.
 * @param {string} text
 * @returns {string | undefined}
 */
const supabaseKeyProblem = (text) => {
  const claims = Buffer.from(text.split(".")[1] ?? "", "base64url").toString()
  if (text.startsWith("sb_publishable_")) return "is the publishable key: use the secret key, sb_secret_..."
  return /"role"\s*:\s*"anon"/.test(claims) ? "is the anon key: use the secret key, sb_secret_..." : headerProblem(text)
}

/** @satisfies {Record<string, Variable>} */
export const operatorVariables = {
  ADMIN_KEY: { ...longSecret, purpose: "the key that callers send as X-ADMIN-KEY" },
  ADMIN_KEY_PREVIOUS: { ...longSecret, purpose: "a second key, accepted during a rotation" },
  // The colon ends the user in HTTP Basic.
  MEDIPIM_API_KEY_ID: {
    pattern: /^[^\s:]+$/,
    expects: "an id without blanks and colons",
    purpose: "id of the MediPim API key"
  },
  MEDIPIM_API_KEY_SECRET: { ...secret, purpose: "secret of the MediPim API key" },
  SUPABASE_URL: {
    ...httpUrl,
    purpose: "address of the Supabase project, https://<project>.supabase.co",
    problem: supabaseUrlProblem
  },
  SUPABASE_SERVICE_ROLE_KEY: {
    ...secret,
    purpose: "secret key of the Supabase project, for its Storage",
    problem: supabaseKeyProblem
  },
  DATABASE_URL: {
    pattern: /^postgres(ql)?:\/\/\S+$/,
    expects: "a postgres:// address",
    purpose: "the Postgres database: direct connection or session pooler",
    problem: databaseUrlProblem
  },
  /** Where a variable takes one line only, line ends may be written `\\n`. */
  DATABASE_CA: {
    pattern: /^-----BEGIN CERTIFICATE-----(?:\s|\\n)/,
    expects: "a certificate in PEM form",
    purpose: "certificate of the authority that signed the database's"
  },
  NOTIFY_URL: { ...httpUrl, purpose: "receives the result of each run: POST of JSON {text, run}; may hold a token" }
}

/**
 * One line about a variable that is missing or wrong, the same wherever it is read.
 * @param {{ readonly variable: string, readonly purpose: string }} setting
 * @param {string} problem
 */
export const problemLine = ({ variable, purpose }, problem) => `${variable} ${problem}: ${purpose}`

/**
 * What is wrong with the text of a variable, `undefined` when nothing is.
 * @param {keyof typeof operatorVariables} variable
 * @param {string} text - Empty when it is not set.
 * @returns {string | undefined}
 */
export const problemOf = (variable, text) => {
  /** @type {Variable} */
  const { purpose, pattern, expects, problem } = operatorVariables[variable]
  const wrong =
    text.trim() === ""
      ? "is missing"
      : (problem?.(text) ?? (pattern.test(text.trim()) ? undefined : `is not ${expects}`))
  return wrong === undefined ? undefined : problemLine({ variable, purpose }, wrong)
}
