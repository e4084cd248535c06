"""What all processes share; it does not depend on devices or kubelets."""
