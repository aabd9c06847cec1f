// graphql-ws's own client: a query, a validation error, then `events` events of a subscription. Prints one JSON object.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';

const [url, token, subscription, events] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: { authorization: `Bearer ${token}` },
  retryAttempts: 0,
});

const once = (query) =>
  new Promise((resolve) => {
    let last;
    client.subscribe({ query }, { next: (value) => (last = value), error: (error) => resolve({ error }), complete: () => resolve(last) });
  });

const found = { query: await once('{ serviceInfo { name } }'), invalid: await once('{ nothing }'), syntax: await once('{ nothing') };
found.events = await new Promise((resolve, reject) => {
  const seen = [];
  const stop = client.subscribe(
    { query: subscription },
    {
      next: (value) => {
        seen.push(value.data);
        if (seen.length === Number(events)) {
          stop();
          resolve(seen);
        }
      },
      error: reject,
      complete: () => {},
    },
  );
  console.log('ready');
});
console.log(JSON.stringify(found));
await client.dispose();
