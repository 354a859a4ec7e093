// A real identity provider for the tests. Reads one line of JSON from standard input (clients, keys, a file with the groups by login),
// prints its issuer, and serves until standard input ends.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [line] = await new Promise((resolve) => {
  createInterface({ input: process.stdin }).once("line", (text) => resolve([text]));
});
const given = JSON.parse(line);
const server = createServer((request, response) => handle(request, response));
let handle;
await new Promise((resolve) => server.listen(given.port ?? 0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: { keys: given.keys },
  claims: { openid: ["sub"], profile: ["preferred_username"], email: ["email", "email_verified"], groups: ["groups"] },
  conformIdTokenClaims: given.only_userinfo ?? false,
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  cookies: { keys: ["a key of the tests"] },
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      preferred_username: id,
      email: `${id}@example.com`,
      email_verified: true,
      groups: JSON.parse(readFileSync(given.groups))[id] ?? [],
    }),
  }),
});
// Asked each second whether a device's login is complete, rather than every five.
provider.use(async (context, next) => {
  await next();
  if (context.oidc?.route === "device_authorization" && context.status === 200) context.body.interval = 1;
});
handle = provider.callback();
console.log(issuer);
process.stdin.on("end", () => process.exit(0));
process.stdin.resume();
