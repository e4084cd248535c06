package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	_ "unsafe" // for linkname
)

// The device manager creates its gRPC server itself. This function of gRPC, which is not public, adds options to all
// servers of the process.
//
//go:linkname addGlobalServerOptions google.golang.org/grpc/internal.AddGlobalServerOptions
var addGlobalServerOptions any

// reportRegistrations reports each call to Register with its outcome, before the plugin gets the response.
func reportRegistrations(reports *reporter) {
	report := func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		response, err := handle(ctx, request)
		if received, is := request.(*api.RegisterRequest); is {
			what := event{Event: "registered", Resource: received.ResourceName, Endpoint: received.Endpoint}
			if err != nil {
				what.Error = status.Convert(err).Message()
			}
			reports.happened(what)
		}
		return response, err
	}
	addGlobalServerOptions.(func(...grpc.ServerOption))(grpc.UnaryInterceptor(report))
}
