// Fetches credentials in the ways of @alicloud/credentials that the arguments name, once for each `fetch` line on
// standard input.
//
// The provider objects are made once and reused, so the answers show whether they follow a rotation.
'use strict';

const readline = require('node:readline');
const credentials = require('@alicloud/credentials');

const Client = credentials.default;
const configurations = {
  credentials_uri: { type: 'credentials_uri', credentialsURI: process.env.ALIBABA_CLOUD_CREDENTIALS_URI },
  ecs_ram_role: { type: 'ecs_ram_role' },
  default: undefined,
};

function client(way) {
  if (!(way in configurations)) throw new Error(`unknown way: ${way}`);
  const configuration = configurations[way];
  return configuration ? new Client(new credentials.Config(configuration)) : new Client();
}

async function answer(client) {
  try {
    const credential = await client.getCredential();
    return {
      AccessKeyId: credential.accessKeyId,
      AccessKeySecret: credential.accessKeySecret,
      SecurityToken: credential.securityToken,
    };
  } catch (error) {
    return { error: String(error) };
  }
}

async function main() {
  const ways = process.argv.slice(2).map((way) => [way, client(way)]);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() !== 'fetch') continue;
    const answers = {};
    for (const [name, way] of ways) answers[name] = await answer(way);
    process.stdout.write(`${JSON.stringify(answers)}\n`);
  }
}

main();
