// Runs every audit of graphql-http's server suite against a URL and prints one JSON object: {"ok": [...], "other": [...]}.
import { auditServer } from 'graphql-http';

const [url, token] = process.argv.slice(2);
const results = await auditServer({
  url,
  fetchFn: (input, init = {}) => {
    const headers = { ...(init.headers ?? {}) };
    if (token) headers.authorization = `Bearer ${token}`;
    return fetch(input, { ...init, headers });
  },
});
const ok = [];
const other = [];
for (const result of results) {
  if (result.status === 'ok') ok.push(result.id);
  else other.push({ id: result.id, name: result.name, status: result.status, reason: result.reason });
}
console.log(JSON.stringify({ ok, other }));
