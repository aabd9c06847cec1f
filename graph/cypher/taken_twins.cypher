UNWIND $ids AS id
MATCH (t:Twin {id: id})
RETURN t.id AS id
LIMIT 1
