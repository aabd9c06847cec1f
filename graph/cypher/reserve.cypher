MERGE (m:Meta {name: 'seq'})
SET m.value = CASE WHEN coalesce(m.value, 0) < $seq THEN $seq ELSE m.value END
