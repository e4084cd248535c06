// The directory versions says which versions of Kubernetes are built, and with which modules.
module dphub.test/dra
