// Which versions of Kubernetes are built, and with which modules, is in the directory versions.
module dphub.test/dra
