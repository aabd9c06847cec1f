UNWIND $rows AS row
MATCH (r:Record {_kind: row.kind, _key: row.key})
DETACH DELETE r
