// A real OpenID provider (the npm package oidc-provider) for tests, on a free loopback port.
//
// Arguments: "slash" makes its issuer end in a slash. Prints its issuer as one line once it listens. Clients register
// themselves (POST /reg). The sign-in page takes an e-mail address and asks nothing else. Who that is, is what the test
// has said (PUT /people with { email, sub, name, email_verified }); anybody else is made up, with a verified address.

import { createHash, generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";

import { Provider } from "oidc-provider";

// Nobody reads the standard output after the first line.
console.log = console.info = console.error;

const people = new Map();

function person(email) {
  if (!people.has(email)) {
    const sub = createHash("sha256").update(email).digest("hex").slice(0, 24);
    people.set(email, { sub, email, email_verified: true, name: email.split("@")[0] });
  }
  return people.get(email);
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function key(kind, options) {
  return generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" });
}

function provide(issuer) {
  const provider = new Provider(issuer, {
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    cookies: { keys: ["for tests only"] },
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
    },
    jwks: { keys: [key("ec", { namedCurve: "P-256" }), key("rsa", { modulusLength: 2048 })] },
    findAccount(_context, sub) {
      const found = [...people.values()].find((one) => one.sub === sub);
      return found && { accountId: sub, claims: () => found };
    },
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    // Nobody is asked twice: signing in is agreeing.
    async loadExistingGrant({ oidc: { client, session } }) {
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
  });
  return provider;
}

async function signIn(provider, request, response) {
  if (request.method !== "POST") {
    await provider.interactionDetails(request, response);
    response.setHeader("content-type", "text/html");
    response.end('<form method="post" action=""><input name="email"><input name="name"><button>Sign in</button></form>');
    return;
  }
  const email = new URLSearchParams(await body(request)).get("email");
  const result = email === "nobody"
    ? { error: "access_denied", error_description: "the person said no" }
    : { login: { accountId: person(email).sub, remember: false } };
  await provider.interactionFinished(request, response, result);
}

async function putPerson(request, response) {
  const said = JSON.parse(await body(request));
  people.set(said.email, said);
  response.statusCode = 204;
  response.end();
}

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}${process.argv.includes("slash") ? "/" : ""}`;
  const provider = provide(issuer);
  const protocol = provider.callback();
  server.on("request", (request, response) => {
    const failed = (error) => {
      response.statusCode = 400;
      response.end(String(error));
    };
    if (request.url.startsWith("/interaction/")) signIn(provider, request, response).catch(failed);
    else if (request.method === "PUT" && request.url === "/people") putPerson(request, response).catch(failed);
    else protocol(request, response);
  });
  process.stdout.write(`${issuer}\n`);
});
