MATCH (t:Twin {id: $id})
REMOVE t:$($old)
SET t:$($new)
