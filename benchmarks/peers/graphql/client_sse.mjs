// graphql-sse's own client in distinct-connections mode: a query and `events` events of a subscription.
import { createClient } from 'graphql-sse';

const [url, token, subscription, events] = process.argv.slice(2);
const client = createClient({ url, singleConnection: false, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 });
const found = {};
found.query = await new Promise((resolve, reject) => {
  let last;
  client.subscribe({ query: '{ serviceInfo { name } }' }, { next: (value) => (last = value), error: reject, complete: () => resolve(last) });
});
found.events = await new Promise((resolve, reject) => {
  const seen = [];
  const stop = client.subscribe(
    { query: subscription },
    {
      next: (value) => {
        seen.push(value.data);
        if (seen.length === Number(events)) {
          resolve(seen);
          stop();
        }
      },
      error: reject,
      complete: () => {},
    },
  );
  console.log('ready');
});
console.log(JSON.stringify(found));
client.dispose();
