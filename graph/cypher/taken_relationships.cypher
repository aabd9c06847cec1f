// Locks the sources first, so that two writers cannot both find the id free.
UNWIND $sources AS row
MATCH (s:Twin {id: row.source})
SET s._w = $seq
WITH s, row
MATCH (s)-[r]->(:Twin)
WHERE r.id IN row.ids
RETURN s.id AS source, r.id AS id
LIMIT 1
