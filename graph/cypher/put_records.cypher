UNWIND $rows AS row
MERGE (r:Record {_kind: row.properties._kind, _key: row.properties._key})
SET r = row.properties, r:$(row.label)
WITH r, row
OPTIONAL MATCH (r)-[old:ABOUT]->()
DELETE old
WITH DISTINCT r, row
MATCH (t:Twin {id: row.twin})
CREATE (r)-[:ABOUT]->(t)
