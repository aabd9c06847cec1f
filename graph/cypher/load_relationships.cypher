MATCH (s:Twin)-[r]->(t:Twin)
RETURN s.id AS source, type(r) AS name, t.id AS target, properties(r) AS properties
ORDER BY r.seq
