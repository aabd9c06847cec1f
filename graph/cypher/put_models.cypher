UNWIND $rows AS row
MERGE (m:Model {id: row.id})
ON CREATE SET m.position = row.position
SET m.name = row.name, m.document = row.document
WITH m
OPTIONAL MATCH (m)-[old:EXTENDS|COMPONENT]->()
DELETE old
