OPTIONAL MATCH (m:Meta {name: 'seq'})
RETURN coalesce(m.value, 0) AS seq
