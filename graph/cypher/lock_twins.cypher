// The write comes before the comparison: under read committed a WHERE ahead of the lock would lose updates.
UNWIND $ids AS id
MATCH (t:Twin {id: id})
SET t._w = $seq
WITH t
RETURN t.id AS id, t.etag AS etag, t.model AS model, t.created_ns AS created_ns, keys(t) AS keys
