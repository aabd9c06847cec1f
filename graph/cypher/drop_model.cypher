MATCH (m:Model {id: $id})
DETACH DELETE m
RETURN count(m) AS n
