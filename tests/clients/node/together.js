// Calls the default chain of @alicloud/credentials four times at once, and once more, and prints whether each call succeeded.
'use strict';

const credentials = require('@alicloud/credentials');

async function main() {
  const client = new credentials.default();
  const calls = await Promise.allSettled([1, 2, 3, 4].map(() => client.getCredential()));
  calls.push(...(await Promise.allSettled([client.getCredential()])));
  process.stdout.write(`${JSON.stringify(calls.map((call) => call.status === 'fulfilled'))}\n`);
}

main();
