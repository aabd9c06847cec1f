"""HOW it looks: scene, state overlay, pictures, window and web page. A client of the API; knows only `twin`."""
