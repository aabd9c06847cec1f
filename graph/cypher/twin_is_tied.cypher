MATCH (t:Twin {id: $id})
RETURN EXISTS { (t)--(:Twin) } AS tied
