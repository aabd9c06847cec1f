// Mercurius with its JIT over the same 1,000 objects of ten fields: the peer of benchmarks/graphql_http.py.
import Fastify from 'fastify';
import mercurius from 'mercurius';

const twins = Array.from({ length: 1000 }, (_, n) => ({
  dtId: `unit-${String(n).padStart(4, '0')}`,
  name: `unit ${n}`,
  etag: '1',
  seq: 1,
  ...Object.fromEntries(Array.from({ length: 6 }, (_, v) => [`v${v}`, ((n * 7919 + v * 104729) % 100003) / 997])),
}));
const values = Array.from({ length: 6 }, (_, v) => `v${v}: Float`).join('\n    ');
const schema = `
  type Twin {
    dtId: String!
    name: String
    etag: String!
    seq: Float!
    ${values}
  }
  type Connection { nodes: [Twin!]! }
  type Query { twins(first: Int!): Connection! }
`;
const resolvers = { Query: { twins: (_, { first }) => ({ nodes: twins.slice(0, first) }) } };

const app = Fastify();
app.register(mercurius, { schema, resolvers, jit: 1 });
const address = await app.listen({ port: 0, host: '127.0.0.1' });
console.log(JSON.stringify({ port: Number(new URL(address).port), pid: process.pid }));
