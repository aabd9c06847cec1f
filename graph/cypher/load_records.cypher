MATCH (r:Record)
RETURN r._kind AS kind, r._key AS key, r._document AS document
ORDER BY kind, key
