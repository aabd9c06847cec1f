// The type is a name that was checked to be a DTDL name, given as a parameter.
UNWIND $rows AS row
MATCH (s:Twin {id: row.source})
MATCH (t:Twin {id: row.target})
CREATE (s)-[r:$(row.name)]->(t)
SET r = row.properties
REMOVE s._w
RETURN count(r) AS n
