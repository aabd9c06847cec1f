// Packs the browser files of GraphiQL and React, unchanged, into dist/ for the API to serve; licences beside them.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const files = {
  "graphiql.min.js": "graphiql/graphiql.min.js",
  "graphiql.min.css": "graphiql/graphiql.min.css",
  "react.production.min.js": "react/umd/react.production.min.js",
  "react-dom.production.min.js": "react-dom/umd/react-dom.production.min.js",
};
mkdirSync("dist", { recursive: true });
for (const [name, source] of Object.entries(files)) {
  writeFileSync(`dist/${name}.gz`, gzipSync(readFileSync(`node_modules/${source}`), { level: 9 }));
}
for (const name of ["graphiql", "react", "react-dom"]) {
  writeFileSync(`dist/LICENSE.${name}`, readFileSync(`node_modules/${name}/LICENSE`));
}
