UNWIND $rows AS row
MATCH (t:Twin {id: row.id})
SET t += row.properties
REMOVE t._w
