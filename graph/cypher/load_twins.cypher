MATCH (t:Twin)
RETURN properties(t) AS properties
ORDER BY t.id
