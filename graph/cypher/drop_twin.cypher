MATCH (t:Twin {id: $id})
DETACH DELETE t
