MATCH (s:Twin {id: $source})-[r]->(:Twin)
WHERE r.id = $id
DELETE r
