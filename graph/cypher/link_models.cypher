UNWIND $rows AS row
MATCH (m:Model {id: row.id})
MATCH (base:Model {id: row.target})
CREATE (m)-[r:$(row.type)]->(base)
SET r = row.properties
