// Walks whole flows as a relying party that shares no code with the issuer. Reads its task as JSON from the command line;
// writes one line of JSON for each page that a person has to open, reads one line with the address at which they ended, and
// writes what it found last. Any check that fails ends it with a message.
import * as readline from 'node:readline/promises'
import * as client from 'openid-client'

const task = JSON.parse(process.argv[2])
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const say = (message) => process.stdout.write(JSON.stringify(message) + '\n')

async function open(url) {
  say({ open: url.toString() })
  const { value, done } = await lines.next()
  if (done) throw new Error('nobody opened the page')
  return value
}

async function refused(what, attempt) {
  try {
    await attempt()
  } catch (error) {
    return error.error ?? error.cause?.[0]?.parameters?.error ?? error.code ?? String(error)
  }
  throw new Error(`${what} was not refused`)
}

const authentications = {
  client_secret_basic: () => client.ClientSecretBasic(task.client_secret),
  client_secret_post: () => client.ClientSecretPost(task.client_secret),
  none: () => client.None(),
}

const config = await client.discovery(
  new URL(task.issuer),
  task.client_id,
  { id_token_signed_response_alg: task.algorithm },
  authentications[task.authentication](),
)
// Else it would trust the connection and leave the signature alone.
client.enableNonRepudiationChecks(config)

async function byCode() {
  const verifier = client.randomPKCECodeVerifier()
  const checks = {
    pkceCodeVerifier: verifier,
    expectedState: client.randomState(),
    expectedNonce: client.randomNonce(),
    maxAge: 3600,
    idTokenExpected: true,
  }
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: task.redirect_uri,
    scope: task.scope,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    max_age: '3600',
  })
  const back = new URL(await open(url))
  return client.authorizationCodeGrant(config, back, checks)
}

async function byDevice() {
  const begun = await client.initiateDeviceAuthorization(config, { scope: task.scope })
  await open(begun.verification_uri_complete)
  return client.pollDeviceAuthorizationGrant(config, begun)
}

const tokens = task.device ? await byDevice() : await byCode()
const claims = tokens.claims()
const userinfo = await client.fetchUserInfo(config, tokens.access_token, claims.sub)
const found = { claims, userinfo, scope: tokens.scope, metadata: config.serverMetadata() }
const confidential = task.authentication !== 'none'
if (confidential) found.introspected = await client.tokenIntrospection(config, tokens.access_token)

const renewed = await client.refreshTokenGrant(config, tokens.refresh_token)
found.renewed = renewed.claims()
found.rotated = renewed.refresh_token !== tokens.refresh_token
if (!task.device) found.end_session = client.buildEndSessionUrl(config, { id_token_hint: renewed.id_token }).toString()

await client.tokenRevocation(config, renewed.refresh_token)
found.after = {
  refresh: await refused('a refresh', () => client.refreshTokenGrant(config, renewed.refresh_token)),
  userinfo: await refused('userinfo', () => client.fetchUserInfo(config, renewed.access_token, claims.sub)),
}
if (confidential) found.after.introspected = await client.tokenIntrospection(config, renewed.access_token)
say({ found })
process.exit(0)
