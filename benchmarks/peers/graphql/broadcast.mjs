// graphql-ws as it comes: every subscriber has its own async iterator over one emitter. The peer of benchmarks/subscriptions.py.
// Each line `emit N` on stdin publishes N events.
import { EventEmitter } from 'node:events';
import readline from 'node:readline';
import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const names = Array.from({ length: 6 }, (_, n) => `v${n}`);
const schema = buildSchema(`
  type Change { seq: Float! kind: String! dtId: String! missed: Int! ${names.map((name) => `${name}: Float`).join(' ')} }
  type Query { hello: String }
  type Subscription { twinChanged: Change! }
`);
const emitter = new EventEmitter();
emitter.setMaxListeners(0);

async function* changes() {
  const waiting = [];
  let wake = () => {};
  const take = (event) => {
    waiting.push(event);
    wake();
  };
  emitter.on('change', take);
  try {
    while (true) {
      while (waiting.length) yield { twinChanged: waiting.shift() };
      await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    emitter.off('change', take);
  }
}

const server = createServer();
useServer({ schema, roots: { subscription: { twinChanged: changes } } }, new WebSocketServer({ server, path: '/graphql', perMessageDeflate: false }));
server.listen(0, '127.0.0.1', 2048, () => console.log(JSON.stringify({ port: server.address().port, pid: process.pid })));

let seq = 0;
const pause = () => new Promise((resolve) => setImmediate(resolve));
readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  for (let left = Number(line.split(' ')[1]); left > 0; left -= 1) {
    seq += 1;
    const event = { seq, kind: 'VALUES', dtId: 'unit-0000', missed: 0 };
    names.forEach((name, n) => (event[name] = ((seq * 7919 + n * 104729) % 100003) / 997));
    emitter.emit('change', event);
    await pause();
  }
});
