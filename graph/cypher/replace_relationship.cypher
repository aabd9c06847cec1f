MATCH (s:Twin {id: $source})-[r]->(:Twin)
WHERE r.id = $id
SET r = $properties
