package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// subject is something that was made.
type subject struct{ name, sha256 string }

// provenanceOf says how the subjects were made, so that anybody can make them
// again and compare. Nobody has signed it: it is as good as where it comes from.
func provenanceOf(binaries []*binary, version string, from *source, subjects []subject) ([]byte, error) {
	first := binaries[0]
	var where, environment []any
	for _, b := range binaries {
		where = append(where, b.platform.String())
		for _, setting := range buildEnvironment(b.platform) {
			environment = append(environment, b.platform.String()+" "+setting)
		}
	}
	external, err := structpb.NewStruct(map[string]any{
		"source": repository, "version": version, "program": "./cmd/" + first.name, "platforms": where,
	})
	if err != nil {
		return nil, err
	}
	internal, err := structpb.NewStruct(map[string]any{
		"go": first.info.GoVersion, "ldflags": linkerFlags(version), "flags": anyOf(buildFlags(version)),
		"environment": environment, "created": float64(from.time.Unix()),
	})
	if err != nil {
		return nil, err
	}
	dirty, err := structpb.NewStruct(map[string]any{"uncommittedChanges": from.dirty})
	if err != nil {
		return nil, err
	}
	roots, err := rootsModule()
	if err != nil {
		return nil, err
	}
	predicate := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{
			BuildType:          repository + "/tree/main/hack/image",
			ExternalParameters: external,
			InternalParameters: internal,
			ResolvedDependencies: []*intoto.ResourceDescriptor{
				{Uri: "git+" + repository, Digest: map[string]string{"gitCommit": from.commit}, Annotations: dirty},
				{Uri: moduleURL(roots).ToString(), Name: "CA certificates"},
			},
		},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{
			Id:      repository + "/tree/main/hack/image",
			Version: map[string]string{"source": from.revision()},
		}},
	}
	if err := predicate.Validate(); err != nil {
		return nil, err
	}
	body, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, err
	}
	statement := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: "https://slsa.dev/provenance/v1", Predicate: &structpb.Struct{}}
	if err := protojson.Unmarshal(body, statement.Predicate); err != nil {
		return nil, err
	}
	for _, s := range subjects {
		statement.Subject = append(statement.Subject, &intoto.ResourceDescriptor{Name: s.name, Digest: map[string]string{"sha256": s.sha256}})
	}
	if err := statement.Validate(); err != nil {
		return nil, err
	}
	if body, err = protojson.Marshal(statement); err != nil {
		return nil, err
	}
	// Protobuf puts in spaces by chance.
	var text bytes.Buffer
	if err := json.Indent(&text, body, "", "  "); err != nil {
		return nil, fmt.Errorf("provenance: %w", err)
	}
	return append(text.Bytes(), '\n'), nil
}

func anyOf(list []string) []any {
	var all []any
	for _, s := range list {
		all = append(all, s)
	}
	return all
}
