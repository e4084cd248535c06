// The modules, at the versions that are tested, are in the directory versions.
module dphub.test/nodetools
