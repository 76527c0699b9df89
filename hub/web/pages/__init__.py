"""The pages: each file has what its page shows, as functions from answers to HTML, and the page itself below."""
