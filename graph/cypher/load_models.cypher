MATCH (m:Model)
RETURN m.document AS document
ORDER BY m.position, m.id
