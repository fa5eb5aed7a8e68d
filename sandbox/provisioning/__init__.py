"""Secret Manager, IAM, Service Usage, Artifact Registry, Resource Manager, as far as provisioning goes."""
