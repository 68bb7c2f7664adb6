const everything = { filter: { status: ["active", "inactive", "replaced"] }, sorting: { createdAt: "ASC" } }

/** The whole stream, without a detour. */
export const download = async (simulatorUrl: string): Promise<Buffer> => {
  const answer = await fetch(`${simulatorUrl}/v4/products/stream`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa("1:simulator-secret-of-no-value")}` },
    body: JSON.stringify(everything)
  })
  if (answer.status !== 200) throw new Error(`The simulator answered ${answer.status}`)
  return Buffer.from(await answer.arrayBuffer())
}
