MATCH (s:Twin {id: $source})-[r]->(t:Twin)
WHERE r.id = $id
SET r._w = $seq
WITH r, t
RETURN r.etag AS etag, type(r) AS name, t.id AS target
