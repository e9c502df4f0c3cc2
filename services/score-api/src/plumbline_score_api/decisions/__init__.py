"""What people decided about findings: statuses with author, evidence and end, and templates of them."""
