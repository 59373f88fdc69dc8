"""What `graftwork doctor` looks at: the software, the machine, and the state of the workspace."""
